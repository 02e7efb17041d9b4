-- Cancels an unfinished shipment: it gets no further call, and is read back as soon as its quiet time allows.
--
-- KEYS: prefix
-- ARGV: CancelArgs. `order`: who, when and why, as JSON; `at`, `by`, `why`: the same for the audit log, which is `kept`
--       entries long
-- Returns 1, 2 if it was cancelled before, or 0 if the shipment is settled or not in the ledger.
local merchant, reference, order, at, by, why, kept = unpack(ARGV, 1, 7)
local now, turn = clock()
local key = record(merchant, reference)
if redis.call('EXISTS', key) == 0 or redis.call('HEXISTS', key, 'state') == 1 then return 0 end
if redis.call('HSETNX', P .. 'cancelled', merchant .. ':' .. reference, order) == 0 then return 2 end
redis.call('XADD', P .. 'audit', 'MAXLEN', '~', kept, '*', 'at', at, 'action', 'cancel', 'by', by,
  'subject', merchant .. '/' .. reference, 'count', 1, 'why', why)
if redis.call('ZADD', schedule(merchant), 'XX', 'CH', now, reference) == 1 then
  redis.call('HSET', key, 'due', 0)
  queue_merchant(merchant, turn)
  push_wakeup()
end
return 1
