-- Renews leases, and before a call marks the token so that, should the worker be lost, the shipment is read back first.
-- Who no longer holds a shipment is told so and must not call.
--
-- KEYS: prefix
-- ARGV: lease in ms, then per shipment: merchant, reference, id of the task, '1' when a call is about to go out
-- Returns 1 (held) or 0 (not any more) per shipment.
local now, lease, out = clock(), tonumber(ARGV[1]), {}

for i = 2, #ARGV, 4 do
  local m, r, id, call = unpack(ARGV, i, i + 3)
  local held = holds(m, r, id)
  if held then
    redis.call('ZADD', working(m), now + lease, r)
    if call == '1' then redis.call('HSET', tokens(m), r, 'c:' .. id) end
  end
  out[#out + 1] = held and 1 or 0
end
return out
