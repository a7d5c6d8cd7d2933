"""The ablation of Table 3: rows, runs side by side, results, and what the paper claims of them."""
