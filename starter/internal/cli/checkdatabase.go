package cli

import (
	"context"
	"fmt"
	"strings"

	"directmailer/internal/config"
	"directmailer/internal/database"
	"directmailer/starter/internal/cli/command"
	"directmailer/starter/internal/output"
)

// checkDatabase checks the database. It returns the settings as well, if they can be read.
func checkDatabase(ctx context.Context, url string) (detail string, found *database.Inspection, err error) {
	pool, err := command.OpenPool(ctx, url)
	if err != nil {
		return "", nil, err
	}
	defer pool.Close()
	version, err := database.CheckServer(ctx, pool)
	if err != nil {
		return "", nil, err
	}
	settings, err := database.Inspect(ctx, pool)
	if err != nil {
		return "", nil, err
	}
	if err := database.CheckMigrated(ctx, pool); err != nil {
		return "", &settings, err
	}
	detail = fmt.Sprintf("version %s at %s, migrated", version, database.Place(url))
	if settings.Pooler {
		detail += ", through a pooler"
	}
	return detail, &settings, nil
}

// settingsFindings says what the settings of the database mean for mailings with so many workers.
func settingsFindings(i database.Inspection, workers int) []finding {
	return []finding{durability(i), connections(i, workers)}
}

// durability says whether a commit survives the loss of power, or of the server.
func durability(i database.Inspection) finding {
	f := finding{What: "database settings", Result: usable}
	var warnings []string
	if i.Fsync == "off" {
		warnings = append(warnings, "fsync is off, so a loss of power can destroy the database: set it to on")
	}
	if i.FullPageWrites == "off" {
		warnings = append(warnings, "full_page_writes is off, so a loss of power can destroy pages: set it to on")
	}
	if i.InRecovery {
		warnings = append(warnings, "the server is a standby and accepts no writes: let DATABASE_URL lead to the primary")
	}
	if i.Standbys > 0 && i.StandbyNames == "" {
		warnings = append(warnings, "no standby is synchronous (synchronous_standby_names is empty), so a failover loses "+
			"the last commits")
	}
	if i.StandbyNames != "" && i.Synchronous != nil && *i.Synchronous == 0 {
		warnings = append(warnings, "synchronous_standby_names is set and no such standby follows: commits wait for one")
	}
	if i.Pooler && i.StatementTimeout != "0" {
		warnings = append(warnings, "the role has a statement_timeout: mailings do not depend on it, but `starter migrate` "+
			"through the pooler does")
	}
	facts := []string{
		"each transaction sets its own isolation (default: " + i.Isolation + "), synchronous_commit (default: " +
			i.SynchronousCommit + ") and statement_timeout (default: " + i.StatementTimeout + ")",
		"fsync " + i.Fsync, "full_page_writes " + i.FullPageWrites, standbys(i),
	}
	f.Detail = strings.Join(append(warnings, facts...), "; ")
	if len(warnings) > 0 {
		f.Result = warning
	}
	return f
}

func standbys(i database.Inspection) string {
	switch {
	case i.StandbyNames == "" && i.Standbys == 0:
		return "no standby follows"
	case i.Synchronous == nil && i.StandbyNames != "":
		return output.Count(i.Standbys, "standby") + ", synchronous: " + i.StandbyNames
	case i.Synchronous == nil:
		return output.Count(i.Standbys, "standby") + ", none synchronous"
	}
	return fmt.Sprintf("%s, %d synchronous", output.Count(i.Standbys, "standby"), *i.Synchronous)
}

// connections compares what the workers may open with what the server allows.
func connections(i database.Inspection, workers int) finding {
	each := config.DatabaseConnections(config.DefaultMaxBatches)
	all := max(workers, 1) * each
	f := finding{What: "database connections", Result: usable}
	f.Detail = fmt.Sprintf("%s may open %d, %d each with DM_MAX_BATCHES=%d; the server allows %d (max_connections %d "+
		"without %d reserved%s%s), others have %d open", output.Count(max(workers, 1), "worker"), all, each,
		config.DefaultMaxBatches, i.Available(), i.MaxConnections, i.Reserved, limit(", the role ", i.RoleLimit),
		limit(", the database ", i.DatabaseLimit), i.Open)
	if all > i.Available() && !i.Pooler {
		f.Result = warning
		f.Detail = "too few for all workers at once: raise max_connections or the CONNECTION LIMIT, lower DM_MAX_BATCHES, " +
			"or use a pooler; " + f.Detail
	}
	return f
}

func limit(whose string, n int) string {
	if n < 0 {
		return ""
	}
	return whose + fmt.Sprint(n)
}
