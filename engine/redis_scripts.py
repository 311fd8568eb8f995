"""What Redis must decide itself, in the moment of the write: scripts, cached under their SHA-1.

Each answers a status line, so that replies are counted alike. All may run twice.
"""

from __future__ import annotations

import hashlib

# A decision that Redis holds already, from before a restart, from another engine or by an operator,
# is not shortened, and the answer says so. One about the same window (its text is equal up to the
# counts) is the same decision, at whatever moment its TTL was rounded or its write delayed; only an
# early one does not take the place of the final one. For statistics this keeps the newer window.
KEEPS = """
local function keeps(held, ttl, value, value_ttl)
  local window = value:match('^.-"events"')
  if type(held) == 'string' and held:sub(1, #window) == window then
    local early = '"final":false'
    return value:find(early, 1, true) and not held:find(early, 1, true)
  end
  return ttl == -1 or ttl > tonumber(value_ttl)
end
"""
KEEP_LATER = f"""{KEEPS}
local ttl = redis.call('TTL', KEYS[1])
if ttl ~= -2 and keeps(redis.pcall('GET', KEYS[1]), ttl, ARGV[1], ARGV[2]) then
  return redis.status_reply('KEPT')
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return redis.status_reply('OK')
"""
KEEP_LATER_FIELD = f"""{KEEPS}
local ttl = redis.call('HTTL', KEYS[1], 'FIELDS', 1, ARGV[1])[1]
if ttl ~= -2 and keeps(redis.call('HGET', KEYS[1], ARGV[1]), ttl, ARGV[2], ARGV[3]) then
  return redis.status_reply('KEPT')
end
redis.call('HSETEX', KEYS[1], 'EX', ARGV[3], 'FIELDS', 1, ARGV[1], ARGV[2])
return redis.status_reply('OK')
"""
EXPIRE_LATER = """
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('EXPIREAT', KEYS[1], ARGV[1])
end
return redis.status_reply('OK')
"""
SCRIPTS = {"keys": (KEEP_LATER,), "hash": (KEEP_LATER, KEEP_LATER_FIELD), "sets": (EXPIRE_LATER,)}


def sha1(script: str) -> str:
    """Return the name under which Redis caches a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
