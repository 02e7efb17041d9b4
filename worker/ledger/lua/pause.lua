-- Pauses a merchant, or prolongs a pause whose probe was refused again.
--
-- KEYS: prefix
-- ARGV: PauseArgs. `digest`: of file and key. `purpose`: what was refused ('allocate', 'read'), or '' when there is
--       nothing to probe (no key, no file). `probe`: the shipment that probed, or ''. `refused`, `strategy`: the shipment
--       that was refused and its step; another one probes first
-- Returns 1 for a new pause.
local FIRST_MS, MAX_MS = 30000, 600000
local now = clock()
local merchant, why, digest, purpose, retry_after_ms, probe, refused, strategy = unpack(ARGV, 1, 8)
local known = redis.call('HGET', P .. 'paused', merchant)
local pause = known and cjson.decode(known)
if pause and purpose == '' and pause.why ~= why then
  -- The key or the file is gone since: there is nothing to probe any more.
  pause.why, pause.digest, pause.purpose, pause.probe = why, digest, '', ''
  redis.call('HSET', P .. 'paused', merchant, cjson.encode(pause))
  return 0
end
if pause and (probe == '' or pause.probe ~= probe) then return 0 end
if pause then
  pause.pause_ms = math.min(MAX_MS, 2 * pause.pause_ms)
else
  pause = { since = now / 1000, pause_ms = FIRST_MS, probes = 0, last = refused, strategy = strategy }
end
pause.why, pause.digest, pause.purpose, pause.probe = why, digest, purpose, ''
pause.probe_at = now + math.max(math.min(tonumber(retry_after_ms), MAX_MS), pause.pause_ms)
redis.call('HSET', P .. 'paused', merchant, cjson.encode(pause))
return known and 0 or 1
