package recipients_test

import (
	"encoding/json"
	"testing"

	"directmailer/internal/feedback"
)

// Who gets the mail must not depend on the defaults of a server, a database or a role.
func TestReservingAndFreezingSetTheirIsolationAndTheirDurability(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "b@example.com", "c@example.com")
	f.exec(`INSERT INTO opt_outs VALUES ('c@example.com', 'asked')`)
	f.exec(`CREATE TABLE seen (task text, settings text, UNIQUE (task, settings))`)
	f.exec(`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO seen
			VALUES (TG_TABLE_NAME || ' ' || TG_OP, current_setting('transaction_isolation') || ', '
				|| current_setting('synchronous_commit')
			|| ', jit ' || current_setting('jit')) ON CONFLICT DO NOTHING;
		RETURN NULL; END $$`)
	for _, table := range []string{"mailings", "recipients", "batches", "deliveries"} {
		f.exec(
			`CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON ` + table + ` FOR EACH STATEMENT EXECUTE FUNCTION see()`,
		)
	}
	for _, setting := range []string{"synchronous_commit = off", "default_transaction_isolation = serializable",
		"jit = on"} {
		f.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ` + setting + `', current_database()); END $$`)
	}
	f.pool.Reset()
	f.freeze(2)
	err := f.mailings.Reserve(t.Context(), "n", "run", "query", json.RawMessage(`{}`), feedback.Marks{}, "default")
	if err != nil {
		t.Fatal(err)
	}
	f.want(f.strings(`SELECT task || ': ' || settings FROM seen ORDER BY 1`), []string{
		"batches INSERT: repeatable read, on, jit off", "deliveries INSERT: repeatable read, on, jit off",
		"mailings INSERT: read committed, on, jit on",
		"mailings UPDATE: repeatable read, on, jit off", "recipients INSERT: repeatable read, on, jit off"})
}

func TestASuppressedAddressIsSubtractedLikeOneThatAsked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "a@example.com", "B@example.com", "c@example.com")
	f.exec(
		`INSERT INTO suppressions (address_key, class, code, origin, mailing)
			VALUES ('b@example.com', 'hard', '5.1.10', 'answer', 'earlier')`,
	)
	f.exec(`INSERT INTO opt_outs VALUES ('a@example.com', 'asked')`)
	frozen := f.freeze(2)
	f.want([]int64{frozen.Recipients, frozen.OptedOut, int64(frozen.Batches)}, []int64{3, 2, 1})
	f.want(
		f.strings(
			`SELECT r.address || ' ' || d.status FROM deliveries d JOIN recipients r ON r.mailing = d.mailing
				AND r.number = d.recipient ORDER BY 1`,
		),
		[]string{"B@example.com opted_out", "a@example.com opted_out"},
	)
}
