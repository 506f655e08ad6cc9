package extsort

import "iter"

// merger merges runs with a loser tree: tree[0] is the index of the run with the smallest row, and each other node has
// the index of the run that lost there. After a run has advanced, only the nodes on the path from its leaf to the root
// are compared again. https://en.wikipedia.org/wiki/K-way_merge_algorithm#Tournament_Tree
type merger struct {
	runs []*runReader
	tree []int
}

// mergeRuns returns the rows of the runs in order, with all rows of a person. Buffer is the number of bytes for
// reading each run.
func mergeRuns(runs []run, buffer int) iter.Seq2[*row, error] {
	return func(yield func(*row, error) bool) {
		m := merger{tree: make([]int, max(len(runs), 1))}
		defer m.close()
		if err := m.open(runs, buffer); err != nil {
			yield(nil, err)
			return
		}
		for {
			first := m.runs[m.tree[0]]
			if first.done || !yield(&first.row, nil) {
				return
			}
			if err := first.next(); err != nil {
				yield(nil, err)
				return
			}
			m.replay(m.tree[0])
		}
	}
}

func (m *merger) open(runs []run, buffer int) error {
	for _, r := range runs {
		reader, err := openRun(r.path, buffer)
		if err != nil {
			return err
		}
		m.runs = append(m.runs, reader)
		if err := reader.next(); err != nil {
			return err
		}
	}
	for i := range m.tree {
		m.tree[i] = -1
	}
	for i := range m.runs {
		m.replay(i)
	}
	return nil
}

func (m *merger) close() {
	for _, r := range m.runs {
		_ = r.file.Close() // it was only read
	}
}

// replay moves the run i from its leaf towards the root. While the tree is built, it stops at the first empty node.
func (m *merger) replay(i int) {
	for node := (i + len(m.runs)) / 2; node > 0; node /= 2 {
		other := m.tree[node]
		if other < 0 {
			m.tree[node] = i
			return
		}
		if m.less(other, i) {
			m.tree[node], i = i, other
		}
	}
	m.tree[0] = i
}

// less reports whether run i comes before run j. Runs that have ended come last.
func (m *merger) less(i, j int) bool {
	r, s := m.runs[i], m.runs[j]
	if r.done || s.done {
		return s.done && !r.done
	}
	return r.compare(&s.row) < 0
}
