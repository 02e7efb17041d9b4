-- Publishes rejected events again, those that are still to be dealt with; each is then dealt with.
--
-- KEYS: prefix, orders stream
-- ARGV: RequeueRejectedRow...; `member`: of `rejected`
-- Returns per row the id of the new entry, or '' if the event was dealt with before.
local out = {}
check_stream(KEYS[2])
for i = 1, #ARGV, 2 do
  local member, event = unpack(ARGV, i, i + 1)
  local is_open = redis.call('ZREM', P .. 'rejected', member) == 1
  out[#out + 1] = is_open and redis.call('XADD', KEYS[2], '*', 'event', event) or ''
end
return out
