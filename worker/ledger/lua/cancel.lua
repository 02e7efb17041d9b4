-- Cancels an unfinished shipment: it gets no further call, and is read back as soon as its quiet time allows.
--
-- KEYS: prefix
-- ARGV: CancelArgs. `order`: who, when and why, as JSON
-- Returns 1, or 0 if the shipment is settled or not in the ledger.
local merchant, reference, order = unpack(ARGV, 1, 3)
local now, turn = clock()
local key = record(merchant, reference)
if redis.call('EXISTS', key) == 0 or redis.call('HEXISTS', key, 'state') == 1 then return 0 end
redis.call('HSET', P .. 'cancelled', merchant .. ':' .. reference, order)
if redis.call('ZADD', schedule(merchant), 'XX', 'CH', now, reference) == 1 then
  redis.call('HSET', key, 'due', 0)
  queue_merchant(merchant, turn)
  push_wakeup()
end
return 1
