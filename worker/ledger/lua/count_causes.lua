-- Counts the failed shipments of merchants by cause, for people; writes nothing.
--
-- KEYS: prefix
-- ARGV: CausesArgs, merchants...; `kept_since`: failures before it are no longer to be dealt with
-- Returns a list per cause: merchant, cause, shipments, time of the oldest, time and reference of the newest.
local kept_since = unpack(ARGV, 1, 1)
local out = {}
for i = 2, #ARGV do
  local merchant = unpack(ARGV, i, i)
  for _, cause in ipairs(redis.call('SMEMBERS', causes_key(merchant))) do
    local key = cause_key(merchant, cause)
    local oldest = redis.call('ZRANGEBYSCORE', key, kept_since, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if oldest[2] then
      local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
      out[#out + 1] = {
        merchant, cause, redis.call('ZCOUNT', key, kept_since, '+inf'), oldest[2], newest[2], newest[1],
      }
    end
  end
end
return out
