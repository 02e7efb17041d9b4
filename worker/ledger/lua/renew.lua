-- Renews leases, as far as their tokens are still valid.
--
-- KEYS: prefix
-- ARGV: RenewArgs, RenewRow...
local now = clock()
local lease_ms = unpack(ARGV, 1, 1)
local token_of = read_tokens(2, 3)

for i = 2, #ARGV, 3 do
  local merchant, reference, lease_token = unpack(ARGV, i, i + 2)
  if epoch_of_lease(token_of[merchant][reference], lease_token) then
    gather('ZADD', working(merchant), now + lease_ms, reference)
  else
    retract_loss(merchant, reference, lease_token)
  end
end
write_gathered()
