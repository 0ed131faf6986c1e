//go:build race

package servertest

import "os"

const raced = true

// A program with the race detector sleeps a second before it exits. Tests start hundreds of
// programs.
func init() {
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
		panic(err)
	}
}
