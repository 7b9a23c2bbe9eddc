-- ARGV[1] {token, counters}.
local token, counters = unpack(cmsgpack.unpack(ARGV[1]))
local now = clock()
for _, counter in ipairs(counters) do
  local found = redis.call('GET', COUNTER .. counter[NAME])
  local state = found and cmsgpack.unpack(found) or new(counter)
  state[TOKEN] = token
  save(counter, state, now)
end
return 1
