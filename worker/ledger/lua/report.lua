-- Records the results of shipments: the history entry and, in the same transaction, the verdict. Only the holder of the
-- lease may write; a report without the lease changes nothing and is answered as such.
--   keep       the task continues with the shipment
--   hand       the next link of the chain takes over the lease
--   park       back into the schedule, due at `due_ms`
--   allocated, failed   out of the schedule; the event goes to its stream and the record expires
-- Feedback about the API is counted with or without the lease (see _breakers.lua).
--
-- KEYS: prefix, allocated stream, failed stream
-- ARGV: ReportArgs, ReportRow...; `due_ms` of an allocated shipment: when to read its carrier once more, or 0.
--       `progress`: '' leaves the record's value. `signal`: '' if no call was made. `slot`: 1 releases the permit's slot.
--       `counted`: lines '<number> <field>' of `metrics`, where a field is a JSON list, or else of `activity`
-- Returns per row 1 (written) or 0 (not the holder).
local lease_ms, keep_s = unpack(ARGV, 1, 2)
local out, left, merchants, counts, grown, recent = {}, {}, {}, {}, {}, {}
local QUIET_TIMES, NEAR_DEADLINE = P .. 'quiet_times', P .. 'near_deadline'
local some_are_noted = redis.call('EXISTS', QUIET_TIMES, NEAR_DEADLINE) > 0
local epoch, token_of = known_epoch(), read_tokens(3, 21)
check_stream(KEYS[2])
check_stream(KEYS[3])

local function leave(m, r)
  left[record(m, r)] = true
  gather('ZREM', working(m), r)
  gather('HDEL', lease_tokens(m), r)
  merchants[m] = true
end

local function count(m, what, many)
  counts[m] = counts[m] or {}
  counts[m][what] = (counts[m][what] or 0) + many
end

local function settle(m, r, verdict, due, event, reason)
  leave(m, r)
  if verdict == 'allocated' and due > 0 then redis.call('ZADD', P .. 'rechecks', due, m .. ':' .. r) end
  redis.call('XADD', verdict == 'failed' and KEYS[3] or KEYS[2], '*', 'event', event)
  count(m, verdict, 1)
  return { 'state', verdict, 'settled', now, 'reason', reason }
end

-- Carries out a verdict; returns the fields that it adds to the record.
local function carry_out(m, r, id, verdict, lease_epoch, due, is_readable, event, reason)
  if verdict == 'allocated' or verdict == 'failed' then return settle(m, r, verdict, due, event, reason) end
  if verdict == 'park' then
    leave(m, r)
    redis.call('ZADD', schedule(m), math.max(due, now), r)
    -- A lease from before a change of the server leaves the shipment in doubt, however long it is parked.
    return is_readable and { 'due', lease_epoch < epoch and 0 or math.max(due, now) } or {}
  end
  -- At once, not gathered: if the same shipment leaves later in this script, its leaving must be written last.
  redis.call('HSET', lease_tokens(m), r, (verdict == 'keep' and 'r:' or 'q:') .. id .. ':' .. lease_epoch)
  redis.call('ZADD', working(m), now + lease_ms, r)
  return {}
end

-- For status: which parked shipments are in their quiet time or near their deadline.
local function note_waiting(key, at, m, r)
  if at ~= '0' then gather('ZADD', key, at, m .. ':' .. r) else gather('ZREM', key, m .. ':' .. r) end
end

-- For metrics: one command per field, whatever the number of rows.
local function grow(lines)
  for by, field in string.gmatch(lines, '(%d+) ([^\n]+)') do
    local numbers = string.sub(field, 1, 1) == '[' and grown or recent
    numbers[field] = (numbers[field] or 0) + by
  end
end

local function write_metrics()
  for field, by in pairs(grown) do redis.call('HINCRBY', P .. 'metrics', field, by) end
  count_recent('activity', 600000, now, recent)
end

local function add(fields, ...)
  for _, each in ipairs({ ... }) do fields[#fields + 1] = each end
end

for i = 3, #ARGV, 21 do
  local merchant, reference, lease_token, verdict, due_ms, step, progress, strategy, entry_field, entry =
    unpack(ARGV, i, i + 9)
  local event, reason, api, signal, purpose, retry_after_ms, slot, repeated_calls, quiet_until_ms, near_deadline_ms,
    counted = unpack(ARGV, i + 10, i + 20)
  count_response(merchant, api, signal, purpose, tonumber(retry_after_ms))
  if slot == '1' then release_slot(merchant, api, lease_token .. '/' .. reference) end
  local key, token = record(merchant, reference), token_of[merchant][reference]
  -- A shipment handed to a link is no longer this holder's.
  local is_handed = verdict ~= 'hand' and string.sub(token or '', 1, 1) == 'q'
  local lease_epoch = not left[key] and not is_handed and epoch_of_lease(token, lease_token)
  if lease_epoch then
    local fields = carry_out(merchant, reference, lease_token, verdict, lease_epoch, tonumber(due_ms), progress ~= '',
      event, reason)
    if entry ~= '' then add(fields, entry_field, entry) end
    if progress ~= '' then
      add(fields, 'progress', progress, 'step', step, 'strategy', strategy, 'lost_call_at', 0,
        'reported_epoch', lease_epoch)
    end
    local is_settled = verdict == 'allocated' or verdict == 'failed'
    -- A call that returned shows that this shipment does not kill its worker; a read-back does not show that.
    if signal ~= '' and purpose == 'allocate' and not is_settled then
      add(fields, 'losses', 0, 'group_losses', 0, 'lost_token', '')
    end
    if some_are_noted or quiet_until_ms ~= '0' or near_deadline_ms ~= '0' then
      note_waiting(QUIET_TIMES, quiet_until_ms, merchant, reference)
      note_waiting(NEAR_DEADLINE, near_deadline_ms, merchant, reference)
    end
    if #fields > 0 then redis.call('HSET', key, unpack(fields)) end
    if verdict == 'failed' then add_failure(merchant, reference, now, keep_s) end
    if is_settled then
      redis.call('EXPIRE', key, keep_s)
      if has_orders then gather('HDEL', CANCELLED, merchant .. ':' .. reference) end
    end
    if is_isolated(lease_token) and verdict ~= 'keep' then redis.call('ZREM', ISOLATED, merchant .. ':' .. reference) end
    grow(counted)
    if repeated_calls ~= '0' then count(merchant, 'repeated_calls', tonumber(repeated_calls)) end
  else
    retract_loss(merchant, reference, lease_token)
  end
  out[#out + 1] = lease_epoch and 1 or 0
end
write_gathered()
for m, each in pairs(counts) do
  for what, many in pairs(each) do redis.call('HINCRBY', P .. 'counts:' .. m, what, many) end
end
write_metrics()
judge_all()
for m in pairs(merchants) do
  local due = first_score(schedule(m))
  if due then queue_merchant(m, math.max(due, turn)) end
  if due and due <= now then push_wakeup() end
end
return out
