-- Has due shipments claimed, if there are any: called when a parked one comes due, by the sweep, and by a child that
-- stops listening.
--
-- KEYS: prefix
-- ARGV: NotifyArgs. `leaving_child`: the child that stops listening, or ''
-- Returns the start message that the caller must send, or an empty list.
local now = clock()
local leaving_child = unpack(ARGV, 1, 1)
if leaving_child ~= '' then redis.call('ZREM', LISTENING, leaving_child) end
local due = first_score(MERCHANT_QUEUE)
return due and due <= now and notify(now) or {}
