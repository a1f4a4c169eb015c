"""The words of the product: values, geometry and ports. Standard library, NumPy and shapely only."""
