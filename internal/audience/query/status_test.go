package query_test

import (
	"errors"
	"strings"
	"testing"

	"directmailer/internal/audience/query"
)

func TestAnAnswerWithPeopleWhoMustNotBeMailedIsRefused(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	for sql, want := range map[string]string{
		"SELECT email, id > 1 AS opted_out FROM people": "column 2 (opted_out) says who may be mailed: " +
			"1 active (false 1), 2 not (true 2)",
		"SELECT email, CASE id WHEN 3 THEN 'Unsubscribed' ELSE 'new' END AS kind FROM people": "column 2 (kind) " +
			"says who may be mailed: 0 active, 3 not (Unsubscribed 1, other values 2)",
		"SELECT 'none' AS email, 'bounced' AS status": "column 2 (status) says who may be mailed: " +
			"0 active, 1 not (bounced 1)",
		"SELECT email, CASE id WHEN 3 THEN 'asked ' || email END AS unsubscribed FROM people": "column 2 " +
			"(unsubscribed) says who may be mailed: 2 active ((empty) 2), 1 not (other values 1)",
	} {
		_, _, err := read(t, s, sql)
		var fault *query.Fault
		const advice = ": select only the people who may be mailed (WHERE …), or do not select the column"
		if !errors.As(err, &fault) || fault.Text != want+advice || strings.Contains(err.Error(), "example") {
			t.Errorf("%s\ngot  %v\nwant %s", sql, err, want)
		}
	}
	for _, sql := range []string{
		"SELECT email, id > 1 AS opted_out FROM people WHERE NOT id > 1",
		"SELECT email, 'gold' AS status FROM people",
		"SELECT email, 'shipped' AS order_status FROM people UNION SELECT 'kim@example.org', 'cancelled'",
		"SELECT email, id > 1 AS vip FROM people",
	} {
		if _, _, err := read(t, s, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
