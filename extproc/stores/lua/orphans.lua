-- ARGV[1] {now, limit}. Replies {{event, draft, tokens, nanos, settled}, …}.
local now, limit = unpack(cmsgpack.unpack(ARGV[1]), 1, 2)
now = clock(now)
local orphans = {}
for _, event in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(now), 'LIMIT', 0, int(limit))) do
  local exchange = find(event)
  if exchange then
    redis.call('ZADD', LEASES, int(now + LEASE_MS), event)
    local draft = redis.call('GET', DRAFT .. event) or ''
    orphans[#orphans + 1] = { event, draft, exchange[TOKENS], exchange[NANOS], exchange[IS_SETTLED] }
  else
    redis.call('ZREM', LEASES, event)
  end
end
return orphans
