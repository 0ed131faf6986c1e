//go:build race

package devtest

const raced = true
