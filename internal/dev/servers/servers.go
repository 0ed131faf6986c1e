// Package servers runs a private PostgreSQL and a private Temporal for `starter dev`, `starter demo` and the tests.
//
// PostgreSQL's binaries are the system's own, Temporal's server is a `temporal` on PATH or is built once from the module file in
// tools/temporal. Both listen on the loopback only, keep their data in a folder of ours, run in process groups of their own, so that
// Ctrl-C reaches us and not them, and end when we end, however we end (on Linux; elsewhere the next start on the same folder ends what
// a killed process has left).
package servers

// Progress is told what is being done, one line at a time.
type Progress func(format string, args ...any)

// Silent tells nobody.
func Silent(string, ...any) {}

func (p Progress) orSilent() Progress {
	if p == nil {
		return Silent
	}
	return p
}
