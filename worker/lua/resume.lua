-- Makes a paused merchant's parked shipments due again, some thousand at a time so that nobody else waits for it.
-- The caller repeats until it returns 0; the pause is lifted with the first call.
--
-- KEYS: prefix
-- ARGV: merchant, most shipments
-- Returns how many were made due.
local m = ARGV[1]
local now, place = clock()
redis.call('HDEL', P .. 'paused', m)
local parked = redis.call('ZRANGEBYSCORE', waiting(m), '(' .. now, '+inf', 'LIMIT', 0, ARGV[2])
for _, r in ipairs(parked) do redis.call('ZADD', waiting(m), now, r) end
if #parked > 0 then wake(m, place) end
return #parked
