package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func (t *Temporal) database() string { return filepath.Join(t.options.Dir, "temporal.db") }

// unfinished is a file that exists from before the server creates its database until the server has
// answered. A server that is interrupted meanwhile leaves a database without all of its tables, and
// no server starts with that.
func (t *Temporal) unfinished() string { return t.database() + ".unfinished" }

// beginDatabase removes a database that was never completed, and creates the file unfinished if
// there is no database.
func (t *Temporal) beginDatabase() error {
	if t.options.Dir == "" {
		return nil
	}
	if _, err := os.Stat(t.unfinished()); err == nil {
		for _, file := range []string{"", "-wal", "-shm", "-journal"} {
			if err := os.Remove(t.database() + file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if _, err := os.Stat(t.database()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(t.unfinished(), nil, 0o600)
}

func (t *Temporal) databaseIsMade() error {
	if t.options.Dir == "" {
		return nil
	}
	if err := os.Remove(t.unfinished()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prepare Temporal's data folder: %w", err)
	}
	return nil
}
