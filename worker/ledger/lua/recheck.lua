-- Which shipments, that two calls may have been booked for, are to be read once more now. Whoever asks looks at them;
-- should it end meanwhile, they are due again later.
--
-- KEYS: prefix
-- ARGV: most shipments, in how many ms they are due again
-- Returns the server's time in ms, then 'merchant:reference'...
local now = clock()
local due = redis.call('ZRANGEBYSCORE', P .. 'recheck', '-inf', now, 'LIMIT', 0, ARGV[1])
for _, name in ipairs(due) do redis.call('ZADD', P .. 'recheck', now + ARGV[2], name) end
return { now, unpack(due) }
