"""Product-free parts: uids, clock, keys, signing, outbound HTTP, logging. Imports no other part of rxdesk."""
