-- A task's first act: compare the token of each shipment in its message and put its own in its place. A message that
-- was delivered twice, or whose lease ran out and was handed out again, gets nothing. A link of a fallback chain takes
-- a shipment only at the step it was made for.
--
-- KEYS: prefix
-- ARGV: merchant, id in the message, id of the task, lease in ms, step or '', reference...
-- Returns the server's time in ms, why the merchant is paused or '', then per shipment taken:
-- reference, facts, received, published, progress, step, doubt, lost, replays
local m, id, task, lease, step = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local now = clock()
local out = { now, redis.call('HGET', P .. 'paused', m) or '' }

for i = 6, #ARGV do
  local r = ARGV[i]
  local token = redis.call('HGET', tokens(m), r)
  -- Its own token too: the answer to a first try may have been lost on the way back.
  if token == 'q:' .. id or token == 'r:' .. task then
    local fields = { 'facts', 'received', 'published', 'progress', 'step', 'doubt', 'lost', 'replays' }
    local known = redis.call('HMGET', record(m, r), unpack(fields))
    if step == '' or known[5] == step then
      redis.call('HSET', tokens(m), r, 'r:' .. task)
      redis.call('ZADD', working(m), now + lease, r)
      out[#out + 1] = { r, unpack(known, 1, 8) }
    end
  end
end
return out
