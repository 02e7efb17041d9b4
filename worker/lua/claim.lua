-- Claims what is due, for messages that are about to be sent; see _claim.lua for what is asked and returned.
--
-- KEYS: prefix
return claim(1)
