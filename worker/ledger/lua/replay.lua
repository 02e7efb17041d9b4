-- Requeues failed shipments with a newly chosen plan. Only the failure that the caller looked at is requeued: a shipment
-- that was replayed meanwhile stays as it is, even if it failed again.
--
-- KEYS: prefix
-- ARGV: ReplayArgs, ReplayRow...; `max_replays`: of a shipment, 0 for no limit
-- Returns per shipment: 1 (requeued), 0 (not that failure any more) or -1 (replayed too often).
local now, out = clock(), {}
local max_replays = unpack(ARGV, 1, 1)
max_replays = tonumber(max_replays)

local function requeue(merchant, reference, intake, strategy, progress, entry_field, entry, due)
  local key = record(merchant, reference)
  remove_failure(merchant, reference)
  redis.call('HSET', key, 'intake', intake, 'received', now, 'strategy', strategy, 'step', 0, 'progress', progress,
    'losses', 0, 'group_losses', 0, 'due', 0, entry_field, entry)
  redis.call('HINCRBY', key, 'replays', 1)
  redis.call('HDEL', key, 'state', 'settled', 'reason', 'dismissed', 'lost_token', 'lost_at')
  redis.call('PERSIST', key)
  redis.call('ZADD', schedule(merchant), due, reference)
  queue_merchant(merchant, due)
  if due <= now then push_wakeup() end
end

for i = 2, #ARGV, 9 do
  local merchant, reference, settled_ms, intake, strategy, progress, entry_field, entry, delay_ms =
    unpack(ARGV, i, i + 8)
  local known = redis.call('HMGET', record(merchant, reference), 'state', 'settled', 'replays')
  if known[1] ~= 'failed' or tonumber(known[2]) ~= tonumber(settled_ms) then
    out[#out + 1] = 0
  elseif max_replays > 0 and tonumber(known[3] or 0) >= max_replays then
    out[#out + 1] = -1
  else
    requeue(merchant, reference, intake, strategy, progress, entry_field, entry, now + tonumber(delay_ms))
    out[#out + 1] = 1
  end
end
return out
