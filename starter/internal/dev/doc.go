// Package dev runs everything on one machine, to try and to develop Direct Mailer: a private
// PostgreSQL, a private Temporal with its Web UI, and a worker. `starter dev` and `starter demo`
// use it. The servers need a Unix, so on other systems the package is empty.
package dev
