-- Has what is due taken, if anything is; asked when something parked comes due, by the sweep, and by who serves no more.
--
-- KEYS: prefix
-- ARGV: the child that serves no more, or ''
-- Returns what the caller must send as a message that starts a child (see _wake.lua), or nothing.
local now = clock()
if ARGV[1] ~= '' then redis.call('ZREM', SERVING, ARGV[1]) end
local due = head(MERCHANTS)
return due and due <= now and ring(now) or {}
