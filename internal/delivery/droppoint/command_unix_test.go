//go:build unix

package droppoint

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The children of the command write to a pipe that only they hold open.
func TestACommandForThePasswordHasATimeLimitAndLeavesNoProcess(t *testing.T) {
	t.Parallel()
	pipe := fifo(t)
	r, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &secret{command: script(t, "sleep 600 >"+pipe+" &\nwait\n"), timeout: 100 * time.Millisecond}
	if _, err := s.read(t.Context()); err == nil || !strings.Contains(err.Error(), "did not end within 100ms") {
		t.Errorf("got %v", err)
	}
	w.Close()
	if _, err := io.ReadAll(r); err != nil { // ends when nobody holds the pipe open for writing
		t.Error(err)
	}
}

// Connections that log in at the same time must not run the command once each.
func TestLogInsAtTheSameTimeShareOneRunOfTheCommand(t *testing.T) {
	t.Parallel()
	begun, word := fifo(t), fifo(t)
	s := &secret{command: script(t, "echo >"+begun+"\ncat "+word+"\n"), timeout: time.Minute}
	first := make(chan string, 1)
	go func() {
		text, _ := s.read(t.Context())
		first <- text
	}()
	if _, err := os.ReadFile(begun); err != nil {
		t.Fatal(err)
	}
	second := s.runs.DoChan("", func() (any, error) { return "a run of its own", nil })
	if err := os.WriteFile(word, []byte("word\n"), 0); err != nil {
		t.Fatal(err)
	}
	if a, b := <-first, <-second; a != "word" || b.Val != "word" || b.Err != nil {
		t.Errorf("got %q and %v", a, b)
	}
}

func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func script(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}
