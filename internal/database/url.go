package database

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	hostName  = regexp.MustCompile(`^[\pL\pN._:%-]*$`)
	paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]*$`)
)

// errURL is the one error for a database URL. An unescaped mark in a password makes a part of the
// password look like a host, a database or a parameter, so no part of the URL is quoted.
var errURL = errors.New("it is not a PostgreSQL URL such as postgres://user:password@host:5432/database: " +
	"write special characters of user and password as %xx, for example @ as %40, / as %2F and # as %23; " +
	"the files that it names must exist")

// ParseURL reads the URL of a database, or a string of keywords and values. Its error quotes
// nothing of it. It refuses a URL whose password seems to contain an unescaped mark.
func ParseURL(raw string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(raw)
	if err != nil || hasUnescapedMark(raw) || !plausible(config) {
		return nil, errURL
	}
	return config, nil
}

// hasUnescapedMark reports whether a mark stands where only an unescaped password can have it.
func hasUnescapedMark(raw string) bool {
	_, rest, isURL := strings.Cut(raw, "://")
	if !isURL {
		return false
	}
	if credentials, after, ok := strings.Cut(rest, "@"); ok && !strings.Contains(credentials, "/") {
		rest = after
	}
	place, query, _ := strings.Cut(rest, "?")
	if strings.ContainsAny(place, "@#") || strings.Contains(query, "#") {
		return true
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.Contains(name, "@") || strings.Contains(value, "@") && !mayHaveAt[name] {
			return true
		}
	}
	return false
}

// mayHaveAt are the parameters of a URL whose values may contain an unescaped @.
var mayHaveAt = map[string]bool{"user": true, "password": true, "sslpassword": true, "application_name": true,
	"options": true}

// plausible reports whether hosts and parameters can be such.
func plausible(config *pgconn.Config) bool {
	hosts := []string{config.Host}
	for _, other := range config.Fallbacks {
		hosts = append(hosts, other.Host)
	}
	for _, host := range hosts {
		if !strings.HasPrefix(host, "/") && !hostName.MatchString(host) {
			return false
		}
	}
	for name := range config.RuntimeParams {
		if !paramName.MatchString(name) {
			return false
		}
	}
	return true
}

// Place names host, port and database of a URL, without user and password.
func Place(raw string) string {
	config, err := ParseURL(raw)
	if err != nil {
		return "(unreadable URL)"
	}
	return fmt.Sprintf("%s/%s", net.JoinHostPort(config.Host, fmt.Sprint(config.Port)), config.Database)
}
