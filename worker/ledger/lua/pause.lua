-- Pauses a merchant, or makes a pause longer when its probe was refused again.
--
-- KEYS: prefix
-- ARGV: merchant, why, digest of file and key, what was refused ('allocate', 'read', or '' when there is nothing to
--       probe: no key, no file), ms that the API asked to wait, reference of the probe or '', the shipment that was
--       refused and what was asked for it: another one, at another step, tries first
-- Returns 1 for a new pause.
local FIRST_MS, MOST_MS = 30000, 600000
local now = clock()
local m, why, digest, purpose, asked, probe, refused, asks = unpack(ARGV, 1, 8)
asked = math.min(tonumber(asked), MOST_MS)
local known = redis.call('HGET', P .. 'paused', m)
local pause = known and cjson.decode(known)
if pause and (probe == '' or pause.probe ~= probe) then return 0 end
if pause then
  pause.pause_ms = math.min(MOST_MS, 2 * pause.pause_ms)
else
  pause = { since = now / 1000, pause_ms = FIRST_MS, probes = 0, last = refused, asks = asks }
end
pause.why, pause.digest, pause.purpose, pause.probe = why, digest, purpose, ''
pause.probe_at = now + math.max(asked, pause.pause_ms)
redis.call('HSET', P .. 'paused', m, cjson.encode(pause))
return known and 0 or 1
