-- Claims the shipments of a link of a fallback chain: those that still have the lease token of the link's message and are
-- at the step that the link is for. A message that arrives twice, or whose leases expired, gets nothing. A shipment that
-- must be isolated is released.
--
-- KEYS: prefix
-- ARGV: ClaimLinkArgs, LinkRow...
-- Returns the server's time, the epoch, and per claimed shipment: merchant, the merchant's pause as JSON or '', ClaimedRow.
local now, turn = clock()
local claim_id, lease_ms, republished_ms = unpack(ARGV, 1, 3)
republished_ms = tonumber(republished_ms)
local epoch, epoch_since, due_before = current_epoch(now)
local token_of, out, paused = read_tokens(4, 4), { now, epoch }, {}

for i = 4, #ARGV, 4 do
  local merchant, reference, lease_token, step = unpack(ARGV, i, i + 3)
  local token = token_of[merchant][reference]
  local phase = string.sub(token or '', 1, 1)
  -- Its own token too: the reply to a first try may have been lost.
  if (phase == 'q' and epoch_of_lease(token, lease_token)) or (phase == 'r' and epoch_of_lease(token, claim_id)) then
    local known = read_record(merchant, reference)
    if must_isolate(known[GROUP_LOSSES], known[LOSSES]) then
      release(merchant, reference, now, turn)
    elseif known[STEP] == step then
      gather('HSET', lease_tokens(merchant), reference, 'r:' .. claim_id .. ':' .. epoch)
      gather('ZADD', working(merchant), now + lease_ms, reference)
      paused[merchant] = paused[merchant] or redis.call('HGET', P .. 'paused', merchant) or ''
      local doubt_since = in_doubt_since(known, epoch, epoch_since, due_before, republished_ms)
      out[#out + 1] = { merchant, paused[merchant], unpack(claimed_row(merchant, reference, known, doubt_since, false)) }
    end
  end
end
write_gathered()
return out
