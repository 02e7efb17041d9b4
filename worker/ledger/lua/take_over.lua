-- Takes over entries of the orders stream that an intake read and did not acknowledge, a small portion at a time.
--
-- KEYS: prefix, orders stream
-- ARGV: group, consumer, ms without acknowledgement, where to begin, most entries, most bytes of a value (a longer one is
--       cut)
-- Returns where to go on ('0-0' at the end), the ids of entries that are gone from the stream, and per entry: id, how
-- often it was delivered before, its fields and values.
local group, consumer, idle, start = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, most_of_one = tonumber(ARGV[5]), tonumber(ARGV[6])
local out = {}

local answer =
  redis.call('XAUTOCLAIM', KEYS[2], group, consumer, idle, start, 'COUNT', most, 'JUSTID')
-- Redis 7 names what is gone; 6.2 still claims it.
local gone = answer[3] or {}

for _, id in ipairs(answer[2]) do
  local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  if entry then
    local pending = redis.call('XPENDING', KEYS[2], group, id, id, 1)[1]
    local delivered = pending and pending[4] or 1
    redis.call('XCLAIM', KEYS[2], group, consumer, 0, id, 'RETRYCOUNT', delivered + 1, 'JUSTID')
    cut(entry[2], most_of_one)
    out[#out + 1] = { id, delivered, entry[2] }
  else
    redis.call('XACK', KEYS[2], group, id)
    gone[#gone + 1] = id
  end
end
if #gone > 0 then
  redis.call('INCRBY', P .. 'lost_orders', #gone)
  redis.call('HINCRBY', P .. 'orders_seen:' .. KEYS[2], 'lost', #gone)
end
return { answer[1], gone, out }
