-- Lifts a pause and makes the merchant's parked shipments due, at most `limit` at a time so that other scripts can run in
-- between. The caller repeats it until it returns 0. The window restarts at one call and grows with every good response.
--
-- KEYS: prefix
-- ARGV: ResumeArgs
-- Returns how many shipments became due.
local merchant, limit = unpack(ARGV, 1, 2)
local now, turn = clock()
if redis.call('HDEL', P .. 'paused', merchant) == 1 then redis.call('HSET', P .. 'window:' .. merchant, 'window', 1) end
local parked = redis.call('ZRANGEBYSCORE', schedule(merchant), '(' .. now, '+inf', 'LIMIT', 0, limit)
for _, r in ipairs(parked) do
  gather('ZADD', schedule(merchant), now, r)
  -- Like a shipment that was leased: if the server changes, it is in doubt.
  redis.call('HSET', record(merchant, r), 'due', 0)
end
write_gathered()
if #parked > 0 then
  queue_merchant(merchant, turn)
  push_wakeup()
end
return #parked
