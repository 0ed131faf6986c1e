package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoPostgres is the error if PostgreSQL 14 or newer is not installed.
var ErrNoPostgres = errors.New("no PostgreSQL 14 or newer is installed")

const oldestPostgres = 14

// The folders of the server's binaries in distributions and in Homebrew. They are seldom on PATH.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin", "/usr/lib/postgresql*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
}

// findPostgres returns the folder of the binaries of the newest server. If major is not 0, the
// server must have this major version, because another one cannot read the cluster.
func findPostgres(major int) (string, error) {
	best, bestVersion := "", 0
	for _, dir := range postgresCandidates() {
		v := serverVersion(dir)
		if v == major && major != 0 {
			return dir, nil
		}
		if v > bestVersion {
			best, bestVersion = dir, v
		}
	}
	switch {
	case bestVersion < oldestPostgres:
		return "", ErrNoPostgres
	case major != 0:
		return "", fmt.Errorf("the data was made by PostgreSQL %d and the newest that is installed is %d: "+
			"install PostgreSQL %d again, or choose another data folder", major, bestVersion, major)
	}
	return best, nil
}

func postgresCandidates() []string {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range postgresFolders {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	return dirs
}

// serverVersion returns the major version of the server in dir. It is 0 if the server or initdb is
// missing.
func serverVersion(dir string) int {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	return majorVersion(string(out))
}

// majorVersion returns the number in texts like "postgres (PostgreSQL) 15.18 (Debian …)" and "…
// 18beta1".
func majorVersion(text string) int {
	_, version, _ := strings.Cut(text, "(PostgreSQL) ")
	digits := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
