-- Hands out shipments whose carrier is to be read once more now. If the caller ends before it has done so, they are due
-- again after `retry_ms`.
--
-- KEYS: prefix
-- ARGV: RecheckArgs
-- Returns the server's time, then 'merchant:reference'...
local now = clock()
local limit, retry_ms = unpack(ARGV, 1, 2)
local due = redis.call('ZRANGEBYSCORE', P .. 'rechecks', '-inf', now, 'LIMIT', 0, limit)
for _, name in ipairs(due) do redis.call('ZADD', P .. 'rechecks', now + retry_ms, name) end
return { now, unpack(due) }
