-- Puts failed shipments back into the schedule, with a plan that was chosen anew. Only the failure that the caller has
-- looked at is put back: who was put back meanwhile stays as it is, even if it has failed again.
--
-- KEYS: prefix
-- ARGV: most replays of a shipment, 0 for any number; then per shipment: merchant, reference, time of its failure in
--       ms, facts, asks, progress, slot of the entry, entry, in how many ms it is due
-- Returns per shipment: 1 (put back), 0 (not that failure any more) or -1 (put back too often).
local now, most, out = clock(), tonumber(ARGV[1]), {}

local function put_back(m, r, facts, asks, progress, slot, entry, due)
  local key = record(m, r)
  redis.call('HSET', key, 'facts', facts, 'received', now, 'asks', asks, 'step', 0, 'progress', progress, 'lost', 0,
    'company_lost', 0, 'due', 0, slot, entry)
  redis.call('HINCRBY', key, 'replays', 1)
  redis.call('HDEL', key, 'state', 'settled', 'reason', 'lost_token', 'lost_at')
  redis.call('PERSIST', key)
  redis.call('ZREM', P .. 'failed:' .. m, r)
  redis.call('ZADD', waiting(m), due, r)
  wake(m, due)
  if due <= now then push_wake() end
end

for i = 2, #ARGV, 9 do
  local m, r, settled = unpack(ARGV, i, i + 2)
  local known = redis.call('HMGET', record(m, r), 'state', 'settled', 'replays')
  if known[1] ~= 'failed' or tonumber(known[2]) ~= tonumber(settled) then
    out[#out + 1] = 0
  elseif most > 0 and tonumber(known[3] or 0) >= most then
    out[#out + 1] = -1
  else
    local facts, asks, progress, slot, entry, wait = unpack(ARGV, i + 3, i + 8)
    put_back(m, r, facts, asks, progress, slot, entry, now + tonumber(wait))
    out[#out + 1] = 1
  end
end
return out
