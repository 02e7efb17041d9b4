-- Lease tokens, and losses of workers. Put before the scripts that claim, permit or report.
--
-- lease_tokens:<m> holds 'phase:id' or, once claimed, 'phase:id:epoch:called_at'. Phases: q = waits for the next link of
-- its chain; r = claimed; c = claimed, and a call for an allocation may be in flight since called_at. `epoch`: the epoch
-- of the claim. An id, the lease token that workers know, is 'host.unique', and ends with '.a' if the shipment is isolated.
local function parse_token(token) return string.match(token, '^(%a):([^:]+):?(%d*):?(%d*)') end
local function is_isolated(id) return string.sub(id, -2) == '.a' end
local function host_part(id) return string.match(id, '^([^.]*)') end

-- The tokens of the shipments in ARGV, by merchant and reference: rows of `size` arguments that start at `first` with
-- merchant and reference. One command per merchant.
local function read_tokens(first, size)
  local references_of, found = {}, {}
  for i = first, #ARGV, size do
    local m = ARGV[i]
    local references = references_of[m]
    if not references then
      references = {}
      references_of[m] = references
    end
    references[#references + 1] = ARGV[i + 1]
  end
  for m, references in pairs(references_of) do
    found[m] = {}
    for i = 1, #references, 1000 do
      local some = redis.call('HMGET', lease_tokens(m), unpack(references, i, math.min(i + 999, #references)))
      for j, token in ipairs(some) do found[m][references[i + j - 1]] = token end
    end
  end
  return found
end

-- The epoch of the claim if the token is of this id, else nil.
local function epoch_of_lease(token, id)
  if not token or string.sub(token, 3, #id + 2) ~= id then return nil end
  local _, holder, epoch = parse_token(token)
  return holder == id and (tonumber(epoch) or 0) or nil
end

-- After this many losses among other shipments, or one while alone, a shipment is isolated.
local GROUP_LOSSES_LIMIT = 2
local ISOLATED = P .. 'isolated'
local function must_isolate(group_losses, losses)
  return (tonumber(group_losses) or 0) >= GROUP_LOSSES_LIMIT or (tonumber(losses) or 0) > 0
end

-- A lease that expired while its child was alive, only unable to renew it, is no loss of a worker.
local function retract_loss(m, r, id)
  local key = record(m, r)
  if redis.call('HGET', key, 'lost_token') ~= id then return end
  redis.call('HDEL', key, 'lost_token', 'lost_at')
  if not is_isolated(id) then redis.call('HINCRBY', key, 'group_losses', -1) end
end
