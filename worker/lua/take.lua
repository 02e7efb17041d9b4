-- A task's first act: compare the token of each shipment in its message and put its own in its place. A message that
-- was delivered twice, or whose lease ran out and was handed out again, gets nothing. A link of a fallback chain takes
-- a shipment only at the step it was made for. In the same round trip it may claim what goes into the message's place.
--
-- KEYS: prefix
-- ARGV: what `claim` is asked (five, see _claim.lua), merchant, id in the message, id of the task, step or '', reference...
-- Returns the server's time in ms, why the merchant is paused or '', what was claimed, then per shipment taken:
-- reference, facts, received, published, progress, step, doubt, lost, replays, unsure
--
-- A server that was started again may have forgotten its last second (appendfsync everysec), and one that took over may
-- never have known it: a call that we do not remember may have gone out. So whatever the ledger noted before the change
-- is unsure until it is noted again, and so is what arrives in the minute after (it may be an order sent once more).
local lease, m, id, task, step = tonumber(ARGV[1]), unpack(ARGV, 6, 9)
local SENT_AGAIN_MS = 60000

-- When this server came into its place, or nil when it is the first.
local function changed_at()
  local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local known = redis.call('HMGET', P .. 'server', 'run_id', 'changed')
  if known[1] == server then return tonumber(known[2]) end
  local changed = known[1] and now or nil
  redis.call('HSET', P .. 'server', 'run_id', server, 'changed', changed or '')
  return changed
end

local changed = changed_at()

local function is_unsure(noted, received)
  if not changed then return 0 end
  if noted then return tonumber(noted) < changed and 1 or 0 end
  return tonumber(received) < changed + SENT_AGAIN_MS and 1 or 0
end

local out = { now, redis.call('HGET', P .. 'paused', m) or '', {} }

local found = #ARGV > 9 and redis.call('HMGET', tokens(m), unpack(ARGV, 10)) or {}
for i, token in ipairs(found) do
  local r = ARGV[i + 9]
  -- Its own token too: the answer to a first try may have been lost on the way back.
  if token == 'q:' .. id or token == 'r:' .. task then
    local fields = { 'facts', 'received', 'published', 'progress', 'step', 'doubt', 'lost', 'replays', 'noted' }
    local known = redis.call('HMGET', record(m, r), unpack(fields))
    if step == '' or known[5] == step then
      gather('HSET', tokens(m), r, 'r:' .. task)
      gather('ZADD', working(m), now + lease, r)
      out[#out + 1] = { r, unpack(known, 1, 8) }
      table.insert(out[#out], is_unsure(known[9], known[2]))
    end
  end
end
write_gathered()
out[3] = claim(1)
return out
