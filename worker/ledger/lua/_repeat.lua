-- Repeats a claim whose reply was lost. Put before claim.lua. Rarely needed, so it is defined by a function that is called
-- only then.
--
-- Returns the claims of that id that are still held, as claim.lua returns them, and whether the shipment is isolated. Their
-- tokens move to the present epoch, and keep that a call may be in flight.
local function repeat_claims(claims, epoch, epoch_since, due_before, republished_ms)
  local out, isolated = {}, false
  for _, claim in ipairs(claims) do
    local m, token_id, references = unpack(claim)
    local rows = {}
    for _, r in ipairs(references) do
      local token = redis.call('HGET', lease_tokens(m), r)
      if epoch_of_lease(token, token_id) then
        local phase, _, _, called_at = parse_token(token)
        local rest = called_at ~= '' and ':' .. called_at or ''
        redis.call('HSET', lease_tokens(m), r, phase .. ':' .. token_id .. ':' .. epoch .. rest)
        isolated = isolated or is_isolated(token_id)
        local known = read_record(m, r)
        local doubt_since = in_doubt_since(known, epoch, epoch_since, due_before, republished_ms)
        rows[#rows + 1] = claimed_row(m, r, known, doubt_since, false)
      end
    end
    out[#out + 1] = { m, token_id, redis.call('HGET', P .. 'paused', m) or '', rows }
  end
  return out, isolated
end
