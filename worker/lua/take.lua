-- A task's first act: compare the token of each shipment in its message and put its own in its place. A message that
-- was delivered twice, or whose lease ran out and was handed out again, gets nothing. A link of a fallback chain takes
-- a shipment only at the step it was made for, and none that needs a child of its own: that one is due again. In the
-- same round trip it may claim what goes into the message's place.
--
-- KEYS: prefix
-- ARGV: what `claim` is asked (seven, see _claim.lua), merchant, id in the message, id of the task, step or '', for how
--       many ms after a change of the server an order may be one that was sent again, reference...
-- Returns the server's time in ms, the number of its changes, the merchant's pause as JSON or '', what was claimed,
-- then per shipment taken: reference, entered, facts, received, published, progress, step, lost_call, lost, replays,
-- and when the server changed if the shipment is in doubt since then, else 0.
--
-- In doubt after a change are the shipments that were owned or due at that time, and the orders that may have been
-- there before and were sent again: a call that nobody remembers may have gone out for them. The others go on.
local lease, m, id, task, step, again = tonumber(ARGV[1]), unpack(ARGV, 8, 12)
local changes, changed, before = server_changes(now)

-- `era`: how often the server had changed when the order was accepted; `noted`: likewise of the lease under which the
-- shipment was last reported. `due` is 0 for who was not waiting for a time: owned at a change, or put forward.
local function in_doubt_since(era, noted, due, entered)
  if changes == 0 then return 0 end
  if noted then
    return tonumber(noted) < changes and (tonumber(due) or 0) <= before and changed or 0
  end
  local sent_again = (tonumber(entered) or 0) < changed + tonumber(again)
  return ((tonumber(era) or 0) < changes or sent_again) and changed or 0
end

local function take(r)
  gather('HSET', tokens(m), r, 'r:' .. task .. ':' .. changes)
  gather('ZADD', working(m), now + lease, r)
end

local function put_back(r)
  redis.call('ZREM', working(m), r)
  redis.call('HDEL', tokens(m), r)
  redis.call('ZADD', waiting(m), now, r)
  wake(m, place)
end

local FIELDS = {
  'company_lost', 'era', 'noted', 'due', 'entered',
  'facts', 'received', 'published', 'progress', 'step', 'lost_call', 'lost', 'replays',
}
local STEP, LOST, FIRST_RETURNED = 10, 12, 5

local out = { now, changes, redis.call('HGET', P .. 'paused', m) or '', {} }

local found = #ARGV > 12 and redis.call('HMGET', tokens(m), unpack(ARGV, 13)) or {}
for i, token in ipairs(found) do
  local r = ARGV[i + 12]
  -- Its own token too: the answer to a first try may have been lost on the way back.
  local phase = string.sub(token or '', 1, 1)
  if (phase == 'q' and lease_of(token, id)) or (phase == 'r' and lease_of(token, task)) then
    local known = redis.call('HMGET', record(m, r), unpack(FIELDS))
    if step ~= '' and not is_alone(task) and must_be_alone(known[1], known[LOST]) then
      put_back(r)
    elseif step == '' or known[STEP] == step then
      take(r)
      out[#out + 1] = { r, unpack(known, FIRST_RETURNED, #FIELDS) }
      table.insert(out[#out], in_doubt_since(unpack(known, 2, 5)))
    end
  end
end
write_gathered()
out[4] = claim(1)
return out
