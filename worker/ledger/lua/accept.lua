-- Accepts one read of the orders stream, all or nothing: new shipments into ledger and schedule, rejected events to their
-- stream, then the acknowledgement. A shipment that the ledger knows stays as it is.
--
-- KEYS: prefix, orders stream, rejected stream
-- ARGV: AcceptArgs, AcceptedRow..., RejectedRow..., stream ids to acknowledge
-- Returns the number of new shipments, and the start message that the caller must send or an empty list.
local now, turn = clock()
local group, shipments, rejected, ignored, index_s = unpack(ARGV, 1, 5)
check_stream(KEYS[2])
check_stream(KEYS[3])
local i, new, merchants, orders, counted, reasons, epoch = 6, 0, {}, {}, {}, {}, known_epoch()

-- For metrics. Merchants and reasons contain nothing that JSON would escape.
local function count_all(kind, numbers)
  for label, number in pairs(numbers) do
    redis.call('HINCRBY', P .. 'metrics', '["' .. kind .. '","' .. label .. '"]', number)
  end
end

-- Finds shipments by what people have: 'o:<merchant>:<order>' holds references, 'e:<event id>' holds '<merchant>:<order>'.
local INDEX, indexed = P .. 'orders_index:' .. math.floor(now / 86400000), {}
local function index_order(merchant, order, event_id, reference)
  local field = 'o:' .. merchant .. ':' .. order
  if not indexed[field] then
    indexed[field] = { redis.call('HGET', INDEX, field) or nil }
    gather('HSET', INDEX, 'e:' .. event_id, merchant .. ':' .. order)
  end
  table.insert(indexed[field], reference)
end

local function write_index()
  for field, references in pairs(indexed) do gather('HSET', INDEX, field, table.concat(references, ' ')) end
  if next(indexed) then redis.call('EXPIRE', INDEX, index_s) end
end

for _ = 1, tonumber(shipments) do
  local merchant, reference, intake, published, strategy, earliest_at, order, event_id = unpack(ARGV, i, i + 7)
  i = i + 8
  local key = record(merchant, reference)
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'intake', intake, 'received', now, 'published', published, 'strategy', strategy, 'step', 0,
      'earliest_at', earliest_at, 'epoch', epoch)
    gather('ZADD', schedule(merchant), now, reference)
    index_order(merchant, order, event_id, reference)
    if not counted[merchant .. ':' .. order] then orders[merchant] = (orders[merchant] or 0) + 1 end
    counted[merchant .. ':' .. order] = true
    new = new + 1
    merchants[merchant] = (merchants[merchant] or 0) + 1
  end
end
for _ = 1, tonumber(rejected) do
  local stream_id, event, reason, error, event_base64, merchant = unpack(ARGV, i, i + 5)
  i = i + 6
  local fields = { 'event', event, 'reason', reason, 'error', error, 'stream_id', stream_id }
  if event_base64 ~= '' then fields[#fields + 1], fields[#fields + 2] = 'event_base64', event_base64 end
  redis.call('XADD', KEYS[3], '*', unpack(fields))
  redis.call('ZADD', P .. 'rejected', now, reason .. ':' .. merchant .. ':' .. stream_id)
  reasons[reason] = (reasons[reason] or 0) + 1
end
count_all('orders', orders)
count_recent('orders_by_minute', 60000, now, orders)
count_all('accepted', merchants)
count_all('rejected', reasons)
if ignored ~= '0' then redis.call('INCRBY', P .. 'ignored_events', ignored) end
write_index()
write_gathered()
if new > 0 then redis.call('SET', P .. 'format', FORMAT, 'NX') end
for m in pairs(merchants) do
  queue_merchant(m, turn)
  redis.call('SADD', P .. 'known_merchants', m)
end
local acknowledged = 0
while i <= #ARGV do
  acknowledged = acknowledged + redis.call('XACK', KEYS[2], group, unpack(ARGV, i, math.min(i + 999, #ARGV)))
  i = i + 1000
end
if acknowledged > 0 then redis.call('HINCRBY', P .. 'orders_counters:' .. KEYS[2], 'acknowledged', acknowledged) end
return { new, new > 0 and notify(now) or {} }
