-- Counts the shipments of merchants by state, for status and metrics; writes nothing.
--
-- KEYS: prefix
-- ARGV: CountArgs, merchants...; `kept_since`: failures before it are no longer to be dealt with
-- Returns per merchant: due, parked, working, failed, time of the first due or parked shipment or '', time of the first
-- failed one or '', then of all time allocated, calls after an open one, changed carriers; then the window, and the limits
-- for calls in flight and per second, 0 without.
local now, kept_since = unpack(ARGV, 1, 2)
local out = {}
for i = 3, #ARGV do
  local merchant = unpack(ARGV, i, i)
  local first = redis.call('ZRANGE', schedule(merchant), 0, 0, 'WITHSCORES')
  local due = first[2] and redis.call('ZCOUNT', schedule(merchant), '-inf', now) or 0
  local failed = redis.call('ZRANGEBYSCORE', failed_key(merchant), kept_since, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local counts = redis.call('HMGET', P .. 'counts:' .. merchant, 'allocated', 'repeated_calls', 'carrier_changed')
  local bounds = redis.call('HMGET', P .. 'window:' .. merchant, 'window', 'in_flight', 'per_second')
  out[#out + 1] = {
    due, first[2] and redis.call('ZCARD', schedule(merchant)) - due or 0, redis.call('ZCARD', working(merchant)),
    failed[2] and redis.call('ZCOUNT', failed_key(merchant), kept_since, '+inf') or 0, first[2] or '', failed[2] or '',
    counts[1] or '0', counts[2] or '0', counts[3] or '0', bounds[1] or tostring(FIRST_WINDOW), bounds[2] or '0',
    bounds[3] or '0',
  }
end
return out
