-- Takes the shipments of a link of a fallback chain: each one that still has the token of the link's message, and stands
-- at the step the link was made for, gets a lease under the id of the task. A message that comes twice, or whose lease
-- ran out, gets nothing. A shipment that needs a child of its own is due again.
--
-- KEYS: prefix
-- ARGV: id of the lease, lease in ms, for how many ms after a change of the server an order may be one that was sent
--       again, then per shipment: merchant, reference, id in the message, step
-- Returns the server's time in ms, the number of its changes, and per shipment taken: merchant, the merchant's pause as
-- JSON or '', then as in _taken.lua.
local now, place = clock()
local id, lease, again = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local changes, changed, before = server_changes(now)
local held_by, out, paused = read_tokens(4, 4), { now, changes }, {}

for i = 4, #ARGV, 4 do
  local m, r, given, step = unpack(ARGV, i, i + 3)
  local token = held_by[m][r]
  local phase = string.sub(token or '', 1, 1)
  -- Its own token too: the answer to a first try may have been lost on the way back.
  if (phase == 'q' and lease_of(token, given)) or (phase == 'r' and lease_of(token, id)) then
    local known = read_record(m, r)
    if must_be_alone(known[COMPANY_LOST], known[LOST]) then
      release(m, r, now, place)
    elseif known[STEP] == step then
      gather('HSET', tokens(m), r, 'r:' .. id .. ':' .. changes)
      gather('ZADD', working(m), now + lease, r)
      paused[m] = paused[m] or redis.call('HGET', P .. 'paused', m) or ''
      local doubt = in_doubt_since(known, changes, changed, before, again)
      out[#out + 1] = { m, paused[m], unpack(told(r, known, doubt, false)) }
    end
  end
end
write_gathered()
return out
