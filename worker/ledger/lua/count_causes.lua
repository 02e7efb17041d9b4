-- Counts the failed shipments of merchants by cause, for people; writes nothing.
--
-- KEYS: prefix
-- ARGV: CausesArgs, merchants...; `kept_since`: failures before it are no longer to be dealt with
-- Returns a list per merchant: cause, shipments, cause, shipments...
local kept_since = unpack(ARGV, 1, 1)
local out = {}
for i = 2, #ARGV do
  local merchant = unpack(ARGV, i, i)
  local counts = {}
  for _, cause in ipairs(redis.call('SMEMBERS', causes_key(merchant))) do
    local shipments = redis.call('ZCOUNT', cause_key(merchant, cause), kept_since, '+inf')
    if shipments > 0 then counts[#counts + 1], counts[#counts + 2] = cause, shipments end
  end
  out[#out + 1] = counts
end
return out
