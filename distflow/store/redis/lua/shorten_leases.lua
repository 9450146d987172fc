-- Let leases of dead coordinators lapse in time after Redis's clock was set back: see
-- shorten_lease.
-- KEYS    meta and lease of the first run, of the second, …
-- ARGV    none
-- Returns OK
-- Events  none
local keys = KEYS
write_though_full()
for i = 1, #keys, 2 do
  local meta, lease = keys[i], keys[i + 1]
  shorten_lease(meta, lease)
end
return CODE.OK
