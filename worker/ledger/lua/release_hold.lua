-- Lifts a merchant's hold: its due shipments can be claimed again.
--
-- KEYS: prefix
-- ARGV: ReleaseHoldArgs
-- Returns 1 if the merchant was on hold.
local merchant = unpack(ARGV, 1, 1)
local now, turn = clock()
local was_on_hold = redis.call('HDEL', P .. 'on_hold', merchant)
local due = first_score(schedule(merchant))
if due then queue_merchant(merchant, math.max(due, turn)) end
if due and due <= now then push_wakeup() end
return was_on_hold
