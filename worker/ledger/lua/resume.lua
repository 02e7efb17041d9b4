-- Makes a paused merchant's parked shipments due again, some thousand at a time so that nobody else waits for it.
-- The caller repeats until it returns 0; the pause is lifted with the first call. One call is tried first: the window
-- begins at one and grows with every good answer.
--
-- KEYS: prefix
-- ARGV: merchant, most shipments
-- Returns how many were made due.
local m = ARGV[1]
local now, place = clock()
if redis.call('HDEL', P .. 'paused', m) == 1 then redis.call('HSET', P .. 'pace:' .. m, 'window', 1) end
local parked = redis.call('ZRANGEBYSCORE', waiting(m), '(' .. now, '+inf', 'LIMIT', 0, ARGV[2])
for _, r in ipairs(parked) do
  gather('ZADD', waiting(m), now, r)
  -- Put forward: who was so before a change of the server may have been called for, though it forgot all of it.
  redis.call('HSET', record(m, r), 'due', 0)
end
write_gathered()
if #parked > 0 then
  wake(m, place)
  push_wake()
end
return #parked
