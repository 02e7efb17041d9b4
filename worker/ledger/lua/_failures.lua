-- Failed shipments to deal with: `failed:<m>` has all of a merchant by time, `failed_cause:<m>:<cause>` those of a cause.
-- A cause is the reason and the last strategy, with a space between. Its keys expire with its last failure.
local function failed_key(m) return P .. 'failed:' .. m end
local function causes_key(m) return P .. 'failed_causes:' .. m end
local function cause_key(m, cause) return P .. 'failed_cause:' .. m .. ':' .. cause end

-- Reason and strategy are read from the record, where they are already, or still, written.
local function cause_of(m, r)
  local found = redis.call('HMGET', record(m, r), 'reason', 'strategy')
  return (found[1] or '') .. ' ' .. (found[2] or '')
end

local function add_failure(m, r, at, keep_s)
  local cause = cause_of(m, r)
  for _, key in ipairs({ failed_key(m), cause_key(m, cause) }) do
    redis.call('ZADD', key, at, r)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', at - keep_s * 1000)
  end
  redis.call('SADD', causes_key(m), cause)
  redis.call('EXPIRE', causes_key(m), keep_s)
  redis.call('EXPIRE', cause_key(m, cause), keep_s)
end

-- Returns whether it was to be dealt with. The cause of an expired record is unknown, but its failure is too old to count.
local function remove_failure(m, r)
  redis.call('ZREM', cause_key(m, cause_of(m, r)), r)
  return redis.call('ZREM', failed_key(m), r) == 1
end
