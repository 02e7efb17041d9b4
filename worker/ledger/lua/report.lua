-- Writes what became of shipments: the entry in each one's story, and with it, in the same transaction, the verdict.
-- Only who holds a shipment may write; a late task is told so and changes nothing.
--   keep       the task goes on with it
--   hand       the next step's message takes it over
--   park       back into the schedule until `due`
--   allocated, failed   out of the schedule, the event into its stream, the record to expire
-- How the APIs did is noted too (see _breakers.lua), whoever holds the shipment.
--
-- KEYS: prefix, allocated stream, failed stream
-- ARGV: lease in ms, seconds to keep settled records, then per shipment: merchant, reference, id, verdict, due in ms
--       (of an allocated one when to read its carrier once more, or 0), step, progress ('' for a record that its holder
--       cannot read: what it says stays), asks, slot of the entry, entry ('' for none), event, reason, api, how it did
--       ('good', 'bad', 'foreign', 'throttled', 'denied', or '' for no call), in what ('allocate', 'read'), ms that it
--       asked to wait, 1 to give back what the permit took, how many calls came after an open one and were not counted yet
-- Returns 1 (written) or 0 (not the holder any more) per shipment.
local lease, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local out, left, touched, counts = {}, {}, {}, {}
local changes, held_by = changes_noted(), read_tokens(3, 18)
check_stream(KEYS[2])
check_stream(KEYS[3])

local function leave(m, r)
  left[record(m, r)] = true
  gather('ZREM', working(m), r)
  gather('HDEL', tokens(m), r)
  touched[m] = true
end

local function count(m, what, many)
  counts[m] = counts[m] or {}
  counts[m][what] = (counts[m][what] or 0) + many
end

-- Writes a verdict; returns what else the record is to say.
local function write(m, r, id, verdict, era, due, is_readable, event, reason)
  if verdict == 'keep' or verdict == 'hand' then
    -- At once, not gathered: should the same shipment leave later in this script, its leaving is written last.
    redis.call('HSET', tokens(m), r, (verdict == 'keep' and 'r:' or 'q:') .. id .. ':' .. era)
    redis.call('ZADD', working(m), now + lease, r)
    return {}
  end
  leave(m, r)
  if verdict == 'park' then
    redis.call('ZADD', waiting(m), math.max(due, now), r)
    -- Who was owned at a change of the server is in doubt since then, however long it waits now.
    return is_readable and { 'due', era < changes and 0 or math.max(due, now) } or {}
  end
  if verdict == 'failed' then
    redis.call('ZADD', P .. 'failed:' .. m, now, r)
    redis.call('ZREMRANGEBYSCORE', P .. 'failed:' .. m, '-inf', now - keep * 1000)
  elseif due > 0 then
    redis.call('ZADD', P .. 'recheck', due, m .. ':' .. r)
  end
  redis.call('XADD', verdict == 'failed' and KEYS[3] or KEYS[2], '*', 'event', event)
  count(m, verdict, 1)
  return { 'state', verdict, 'settled', now, 'reason', reason }
end

for i = 3, #ARGV, 18 do
  local m, r, id, verdict, due, step, progress, asks, slot, entry = unpack(ARGV, i, i + 9)
  local event, reason, api, answer, purpose, asked, returned, again = unpack(ARGV, i + 10, i + 17)
  note(m, api, answer, purpose, tonumber(asked))
  if returned == '1' then give_back(m, api, id .. '/' .. r) end
  local key = record(m, r)
  -- What was handed to a link is not this holder's any more.
  local is_handed = verdict ~= 'hand' and string.sub(held_by[m][r] or '', 1, 1) == 'q'
  local era = not left[key] and not is_handed and lease_of(held_by[m][r], id)
  if era then
    local says = write(m, r, id, verdict, era, tonumber(due), progress ~= '', event, reason)
    if entry ~= '' then says[#says + 1], says[#says + 2] = slot, entry end
    if progress ~= '' then
      local n = #says
      says[n + 1], says[n + 2], says[n + 3], says[n + 4] = 'progress', progress, 'step', step
      says[n + 5], says[n + 6], says[n + 7], says[n + 8] = 'asks', asks, 'lost_call', 0
      says[n + 9], says[n + 10] = 'noted', era
    end
    local settled = verdict == 'allocated' or verdict == 'failed'
    -- A call that came back shows that it is not this shipment that kills; a read-back does not.
    if answer ~= '' and purpose == 'allocate' and not settled then
      local n = #says
      says[n + 1], says[n + 2], says[n + 3], says[n + 4], says[n + 5], says[n + 6] =
        'lost', 0, 'company_lost', 0, 'lost_token', ''
    end
    if #says > 0 then redis.call('HSET', key, unpack(says)) end
    if settled then redis.call('EXPIRE', key, keep) end
    if is_alone(id) and verdict ~= 'keep' then redis.call('ZREM', ALONE, m .. ':' .. r) end
    if again ~= '0' then count(m, 'asked_again', tonumber(again)) end
  else
    still_alive(m, r, id)
  end
  out[#out + 1] = era and 1 or 0
end
write_gathered()
for m, each in pairs(counts) do
  for what, n in pairs(each) do redis.call('HINCRBY', P .. 'counts:' .. m, what, n) end
end
judge_all()
for m in pairs(touched) do
  local due = head(waiting(m))
  if due then wake(m, math.max(due, place)) end
  if due and due <= now then push_wake() end
end
return out
