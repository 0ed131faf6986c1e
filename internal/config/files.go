package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"sync"

	"directmailer/internal/stoppable"
)

// fileSuffix makes the name of the variable that names the file which holds another variable's
// value. Container platforms mount secrets as files.
const fileSuffix = "_FILE"

// maxFile is the size of the largest file that can hold a value.
const maxFile = 1 << 20

// Getenv returns the value of a variable of [Starter], also from the file that name_FILE names. It
// returns "" if neither is set, or if the file cannot be read.
func Getenv(name string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	value, _ := readFile(name, os.Getenv(name+fileSuffix))
	return value
}

// readFiles returns the environment, with the values of variables that are given as files.
func readFiles(target any) (map[string]string, error) {
	variables := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		variables[name] = value
	}
	var problems []error
	for _, v := range Variables(reflect.ValueOf(target).Elem().Interface()) {
		path := variables[v.Name+fileSuffix]
		if !v.File || path == "" {
			continue
		}
		if variables[v.Name] != "" {
			problems = append(
				problems,
				fmt.Errorf("%s and %s%s are both set: set one of them", v.Name, v.Name, fileSuffix),
			)
			continue
		}
		value, err := readFile(v.Name, path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		variables[v.Name] = value
	}
	return variables, errors.Join(problems...)
}

// fromPipes are the values that came from pipes, by path. A pipe gives its content once, and a
// program reads its environment several times.
var fromPipes = struct {
	sync.Mutex
	values map[string]string
}{values: map[string]string{}}

// readFile reads the file that holds a variable's value, without blanks and line breaks around it.
// Its errors do not quote the path: somebody may have set the value itself.
func readFile(name, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() {
		return readContent(name, path, info, err)
	}
	fromPipes.Lock()
	defer fromPipes.Unlock()
	value, ok := fromPipes.values[path]
	if !ok {
		if value, err = readContent(name, path, info, nil); err == nil {
			fromPipes.values[path] = value
		}
	}
	return value, err
}

// readContent is readFile for a file whose Stat has answered info and err.
func readContent(name, path string, info fs.FileInfo, err error) (string, error) {
	if err == nil && info.Size() > maxFile {
		return "", fmt.Errorf("%s%s names a file that is larger than 1 MiB", name, fileSuffix)
	}
	var content []byte
	if err == nil {
		content, err = stoppable.ReadFile(path, maxFile)
	}
	var fault *fs.PathError
	if errors.As(err, &fault) {
		return "", fmt.Errorf("%s%s names a file that cannot be read: %w", name, fileSuffix, fault.Err)
	}
	if err != nil {
		return "", fmt.Errorf("%s%s names a file that %w", name, fileSuffix, err)
	}
	if len(content) > maxFile { // a pipe
		return "", fmt.Errorf("%s%s names a file that is larger than 1 MiB", name, fileSuffix)
	}
	return strings.TrimSpace(string(content)), nil
}
