-- Claims entries of the orders stream that another intake read and did not acknowledge.
--
-- KEYS: prefix, orders stream
-- ARGV: ReclaimArgs; `start`: where the scan continues; a value longer than `max_value_bytes` is truncated
-- Returns where to continue ('0-0' at the end), the ids of entries that are gone from the stream, and per entry: id, how
-- often it was delivered before, its fields and values.
local group, consumer, idle_ms, start, limit, max_value_bytes = unpack(ARGV, 1, 6)
max_value_bytes = tonumber(max_value_bytes)
local out = {}

local reply =
  redis.call('XAUTOCLAIM', KEYS[2], group, consumer, idle_ms, start, 'COUNT', limit, 'JUSTID')
-- Redis 7 returns the deleted ones apart; 6.2 claims them too.
local gone = reply[3] or {}

for _, id in ipairs(reply[2]) do
  local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  if entry then
    local pending = redis.call('XPENDING', KEYS[2], group, id, id, 1)[1]
    local delivered = pending and pending[4] or 1
    redis.call('XCLAIM', KEYS[2], group, consumer, 0, id, 'RETRYCOUNT', delivered + 1, 'JUSTID')
    truncate(entry[2], max_value_bytes)
    out[#out + 1] = { id, delivered, entry[2] }
  else
    redis.call('XACK', KEYS[2], group, id)
    gone[#gone + 1] = id
  end
end
if #gone > 0 then
  redis.call('INCRBY', P .. 'lost_orders', #gone)
  redis.call('HINCRBY', P .. 'orders_counters:' .. KEYS[2], 'lost', #gone)
end
return { reply[1], gone, out }
